//! The shell: watches, agents' streams, one loop a cluster; observes and executes.
//! Must not choose: decisions are `topology`'s, objects are `objects`'.
