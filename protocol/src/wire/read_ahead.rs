//! A read buffer that is large only while much arrives: rustls alone reads 4 KiB a call, and a large buffer
//! for each of a thousand idle connections would be most of a server's memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Buffer of a quiet connection, in bytes.
const SMALL: usize = 8 << 10;
/// Buffer of a busy one.
const LARGE: usize = 256 << 10;
/// A busy connection is quiet again after so many reads that a small buffer could have taken.
const QUIET_READS: u32 = 64;

/// Reads ahead of its user; writes pass through.
#[derive(Debug)]
pub struct ReadAhead<S> {
    inner: S,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    quiet: u32,
}

impl<S> ReadAhead<S> {
    /// A stream with nothing read yet.
    pub fn new(inner: S) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0, quiet: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start == this.end {
            this.quiet = if this.end > SMALL { 0 } else { this.quiet.saturating_add(1) };
            let wanted = match this.buffer.len() {
                // Full last time: there is more.
                SMALL if this.end == SMALL => LARGE,
                LARGE if this.quiet < QUIET_READS => LARGE,
                _ => SMALL,
            };
            (this.start, this.end) = (0, 0);
            if this.buffer.len() != wanted {
                this.buffer = vec![0; wanted];
            }
            let mut room = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut room))?;
            this.end = room.filled().len();
        }
        let ahead = this.buffer.get(this.start..this.end).unwrap_or_default();
        let taken = ahead.get(..out.remaining()).unwrap_or(ahead);
        out.put_slice(taken);
        this.start += taken.len();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn every_byte_comes_through_in_order_and_the_buffer_shrinks_again() {
        let data: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let (mut a, b) = tokio::io::duplex(1 << 20);
        let sent = data.clone();
        let writer = tokio::spawn(async move {
            a.write_all(&sent).await.unwrap();
            a
        });
        let mut ahead = ReadAhead::new(b);
        let mut seen = vec![0; data.len()];
        ahead.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, data);
        assert!(ahead.buffer.len() >= SMALL);
        let mut a = writer.await.unwrap();
        for _ in 0..=QUIET_READS {
            a.write_all(b"ping").await.unwrap();
            let mut four = [0; 4];
            ahead.read_exact(&mut four).await.unwrap();
        }
        assert_eq!(ahead.buffer.len(), SMALL);
    }
}
