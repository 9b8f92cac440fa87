# SPDX-License-Identifier: Apache-2.0
"""Recorded samples and the alarms they would have raised: the live engine on their own clock."""
