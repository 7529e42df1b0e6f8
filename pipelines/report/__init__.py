"""Pictures and pages that show people what the frames and the students look like."""
