# SPDX-License-Identifier: Apache-2.0
"""Publishers: one small file per place that samples go to."""
