"""The forecaster as a library: LearningCurve, and measured errors from files of any layout."""
