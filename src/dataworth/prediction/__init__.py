"""A trained run on new pictures: classifier, Grad-CAM, export."""
