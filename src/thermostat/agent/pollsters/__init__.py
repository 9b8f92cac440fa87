# SPDX-License-Identifier: Apache-2.0
"""Pollsters: one small file per source of samples."""
