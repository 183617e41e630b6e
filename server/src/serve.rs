//! Serving.

use ft_protocol::{Error, Result, Status};

use crate::config::{ServeOptions, StdioOptions};

/// Serves until a signal ends it.
pub async fn run(options: ServeOptions) -> Result<()> {
    Err(Error::local(Status::Unsupported, format!("serve {}: not built in", options.root.display())))
}

/// Serves one session over standard input and output.
pub async fn run_stdio(options: StdioOptions) -> Result<()> {
    Err(Error::local(Status::Unsupported, format!("serve {}: not built in", options.root.display())))
}
