"""From pictures and ToF depth to fused depth, clouds and maps."""
