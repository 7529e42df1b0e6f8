"""The one process that carries a planned training out: folder, stages, Ray, registration."""
