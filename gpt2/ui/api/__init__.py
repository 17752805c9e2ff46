"""The API: functions over HTTP, gradio_client and MCP, each answering with one JSON object."""
