"""What a version answers for pictures: through torch or ONNX Runtime, on any source, as files."""
