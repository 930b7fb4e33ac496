//! HTTP over a runtime, in the shape of the OpenAI interface.
