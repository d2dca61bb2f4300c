"""Tasks whose best accuracy is a closed form, methods that attain it, and the checks of both."""
