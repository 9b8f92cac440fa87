# SPDX-License-Identifier: Apache-2.0
"""Evaluation: windows of datapoints in, states out, and the loop around them."""
