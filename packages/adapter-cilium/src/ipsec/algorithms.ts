/** An algorithm that encrypts and authenticates at once. */
export interface AeadAlgorithm {
  /** Lengths of its keys, bytes, each with the salt that RFC 4106 and its kin put behind the key. */
  readonly keyBytes: readonly number[]
  /** Lengths of the integrity check value, bits, that both Cilium and the kernel take. */
  readonly icvBits: readonly number[]
}

/** AEAD algorithms of the kernel's IPsec that Cilium takes: their names begin with `rfc`. */
export const AEAD_ALGORITHMS: Readonly<Record<string, AeadAlgorithm>> = {
  'rfc4106(gcm(aes))': { keyBytes: [20, 28, 36], icvBits: [96, 128] },
  'rfc4309(ccm(aes))': { keyBytes: [19, 27, 35], icvBits: [96, 128] },
  'rfc7539esp(chacha20,poly1305)': { keyBytes: [36], icvBits: [128] },
}

/**
 * Algorithms that authenticate, with the length of their output in bytes. A key has at least 16 bytes and at most 64: Cilium derives the
 * key of each pair of nodes from it by a hash of that length.
 */
export const AUTH_ALGORITHMS: Readonly<Record<string, number>> = {
  'hmac(sha1)': 20,
  'hmac(sha256)': 32,
  'hmac(sha384)': 48,
  'hmac(sha512)': 64,
}

/** Shortest and longest authentication key, bytes. */
export const AUTH_KEY_BYTES: readonly [number, number] = [16, 64]

/** Algorithms that encrypt, with the lengths of their keys in bytes. */
export const CIPHER_ALGORITHMS: Readonly<Record<string, readonly number[]>> = { 'cbc(aes)': [16, 24, 32] }

/** Algorithms that Cilium may take but that keep nothing secret, with what is wrong with them. */
export const NOT_SECRET: Readonly<Record<string, string>> = {
  'rfc4543(gcm(aes))': 'authenticates only',
  cipher_null: 'encrypts nothing',
  'ecb(cipher_null)': 'encrypts nothing',
  digest_null: 'authenticates nothing',
}
