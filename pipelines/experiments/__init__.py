"""Trainings that answer a question instead of making a version: ablations and the replay of V1 to V9."""
