//! Credential management, over what verifiers read.
