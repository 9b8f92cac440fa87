# SPDX-License-Identifier: Apache-2.0
"""The sample store: statistics over stored samples."""
