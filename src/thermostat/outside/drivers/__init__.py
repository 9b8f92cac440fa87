# SPDX-License-Identifier: Apache-2.0
"""The outside stores: one module each."""
