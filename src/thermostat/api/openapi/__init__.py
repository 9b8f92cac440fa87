# SPDX-License-Identifier: Apache-2.0
"""The API's OpenAPI description: made from the types that decode requests, served and tested.

One module per noun has a table of its operations; `schemas` turns the code's types into JSON
schemas, `document` puts everything together.
"""
