//! A validated cluster as the Kubernetes objects that make it up.
//! Must not do IO, read a clock or draw random numbers: the same input gives the same objects.
