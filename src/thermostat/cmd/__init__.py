# SPDX-License-Identifier: Apache-2.0
"""Commands: parse arguments and configuration, then hand over."""
