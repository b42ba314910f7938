"""Prediction with a trained run on new pictures: classifier, Grad-CAM, file formats."""
