"""The admin console: Streamlit pages that ask the core's console rooms and draw what they say."""
