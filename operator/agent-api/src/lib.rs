//! What controller and agent say to each other, and the stream it goes over.
//! Must not hold a decision of either side.

pub mod client;
mod latest;
pub mod message;
pub mod server;
#[cfg(test)]
mod tests;
pub mod tls;
mod wire;

/// The controller's name in its certificate; agents let nobody else in.
pub const CONTROLLER_NAME: &str = "controller.mysql.holdfast.dev";

/// An error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
