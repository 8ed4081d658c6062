//! The agent: PID 1 of a member's Pod, beside mysqld.
//! Must not decide about the cluster, nor need the controller to keep mysqld running.
