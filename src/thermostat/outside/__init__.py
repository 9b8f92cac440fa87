# SPDX-License-Identifier: Apache-2.0
"""Stores outside of this server that alarms' datapoints are asked of."""
