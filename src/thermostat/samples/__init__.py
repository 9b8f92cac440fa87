# SPDX-License-Identifier: Apache-2.0
"""Samples: what is measured, its wire forms, what is derived from it. Pure: no I/O, no clock."""
