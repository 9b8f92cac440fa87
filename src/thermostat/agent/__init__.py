# SPDX-License-Identifier: Apache-2.0
"""The agent: polls what runs on a host, derives rates and percentages, publishes samples."""
