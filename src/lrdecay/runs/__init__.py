"""One run: built, trained, tested, recorded, resumed, evaluated."""
