# SPDX-License-Identifier: Apache-2.0
"""Event alarms: OpenStack's notifications in, transitions out."""
