//! What both ends choose of TLS: version 1.3 alone, post-quantum key agreement first, no resumption.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};

/// Application protocol (RFC 7301), so that a server of something else is recognised as such.
pub const ALPN: &[u8] = b"ft";
/// Bytes that TLS may buffer before a write waits. Half a block: a thousand connections that each encrypt a
/// whole one at once leave the heap in pieces.
pub const BUFFER_LIMIT: usize = 512 << 10;

/// AES-128-GCM first where the processor has AES instructions, ChaCha20 first elsewhere; X25519MLKEM768, then
/// X25519.
pub fn crypto_provider() -> CryptoProvider {
    let mut suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    if !has_aes() {
        suites.rotate_right(1);
    }
    CryptoProvider {
        cipher_suites: suites,
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}
