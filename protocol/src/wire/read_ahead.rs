//! A read buffer that exists only while much arrives: rustls alone reads 4 KiB a call, and a large buffer
//! for each of a thousand idle connections would be most of a server's memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::Memory;

/// Buffer of a busy connection, in bytes.
const LARGE: usize = 256 << 10;
/// A read of so many bytes is one of a busy connection.
const BUSY_READ: usize = 4 << 10;
/// A busy connection is quiet again after so many reads in a row of fewer.
const QUIET_READS: u32 = 64;

/// Reads ahead of its user; writes pass through.
#[derive(Debug)]
pub struct ReadAhead<S> {
    inner: S,
    /// Of a busy connection.
    buffer: Option<Memory>,
    start: usize,
    end: usize,
    quiet: u32,
}

impl<S> ReadAhead<S> {
    /// A stream with nothing read yet.
    pub fn new(inner: S) -> Self {
        Self { inner, buffer: None, start: 0, end: 0, quiet: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start == this.end && this.quiet >= QUIET_READS {
            this.buffer = None;
        }
        let Some(buffer) = &mut this.buffer else {
            let before = out.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, out))?;
            // Full: there is more.
            if out.remaining() == 0 && out.filled().len() - before >= BUSY_READ {
                (this.buffer, this.start, this.end, this.quiet) = (Some(Memory::new(LARGE)), 0, 0, 0);
            }
            return Poll::Ready(Ok(()));
        };
        if this.start == this.end {
            let mut room = ReadBuf::new(buffer.bytes_mut());
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut room))?;
            (this.start, this.end) = (0, room.filled().len());
            this.quiet = if this.end > BUSY_READ { 0 } else { this.quiet + 1 };
        }
        let ahead = buffer.bytes().get(this.start..this.end).unwrap_or_default();
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
    async fn every_byte_comes_through_in_order_and_the_buffer_goes_again() {
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
        assert!(ahead.buffer.is_some());
        let mut a = writer.await.unwrap();
        for _ in 0..=QUIET_READS {
            a.write_all(b"ping").await.unwrap();
            let mut four = [0; 4];
            ahead.read_exact(&mut four).await.unwrap();
        }
        assert!(ahead.buffer.is_none());
    }
}
