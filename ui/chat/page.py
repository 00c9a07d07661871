"""placeholder"""

import fastapi


def mounted(app):
    return fastapi.FastAPI()
