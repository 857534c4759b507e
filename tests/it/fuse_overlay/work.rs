//! Real work.
