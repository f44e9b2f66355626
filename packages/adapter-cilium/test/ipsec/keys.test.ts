import { inspect } from 'node:util'
import { OffloadError } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  assertChange,
  describeKey,
  formatKey,
  generateKey,
  type IpsecKey,
  KEY_ALGORITHMS,
  KeyMaterial,
  nextSpi,
  parseKey,
  parseKeys,
  rotateKey,
} from '../../src/ipsec/index.ts'

const HEX = '44434241343332312423222114131211f4f3f2f1'
const material = (...lengths: number[]): fc.Arbitrary<KeyMaterial> =>
  fc
    .constantFrom(...lengths)
    .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
    .map((bytes) => new KeyMaterial(bytes))
const numbers = { spi: fc.integer({ min: 1, max: 15 }), perPair: fc.boolean() }
const keys: fc.Arbitrary<IpsecKey> = fc.oneof(
  fc.record({
    kind: fc.constant('aead' as const),
    ...numbers,
    algorithm: fc.constant('rfc4106(gcm(aes))'),
    key: material(20, 28, 36),
    icvBits: fc.constantFrom(96, 128),
  }),
  fc.record({
    kind: fc.constant('pair' as const),
    ...numbers,
    auth: fc.record({ algorithm: fc.constantFrom('hmac(sha1)', 'hmac(sha256)', 'hmac(sha512)'), key: material(16, 20, 32, 64) }),
    cipher: fc.record({ algorithm: fc.constant('cbc(aes)'), key: material(16, 24, 32) }),
  }),
)

const secretsOf = (key: IpsecKey): string[] => (key.kind === 'aead' ? [key.key.hex()] : [key.auth.key.hex(), key.cipher.key.hex()])

/** All of an error that may be printed. */
const failure = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (!OffloadError.is(error)) throw error
    return `${error.code} ${error.message} → ${error.hint}`
  }
  return 'no error'
}

describe('a line of the secret', () => {
  it('is read as it is written', () => {
    fc.assert(
      fc.property(keys, (key) => {
        expect(formatKey(parseKey(formatKey(key)))).toBe(formatKey(key))
      }),
    )
  })

  it('may have 0x before keys, capitals, more blanks and a line end, as Cilium takes them', () => {
    expect(formatKey(parseKey(`3+ rfc4106(gcm(aes))  0x${HEX.toUpperCase()}\t128 `))).toBe(`3+ rfc4106(gcm(aes)) ${HEX} 128`)
    expect(parseKeys(`3 rfc4106(gcm(aes)) ${HEX} 128\n`)).toHaveLength(1)
    expect(parseKeys(`3 rfc4106(gcm(aes)) ${HEX} 128\r\n4 rfc4106(gcm(aes)) ${HEX} 128\r\n`).map(({ spi }) => spi)).toEqual([3, 4])
  })

  it.each([
    ['', 'no fields', 'SPI+'],
    [`rfc4106(gcm(aes)) ${HEX} 128`, '3 fields', '4 or 5'],
    [`3 rfc4106(gcm(aes)) ${HEX} 128 x y`, '6 fields', '4 or 5'],
    [`x rfc4106(gcm(aes)) ${HEX} 128`, 'SPI: no number', '1 to 15'],
    [`+ rfc4106(gcm(aes)) ${HEX} 128`, 'SPI: no number', '1 to 15'],
    [`0 rfc4106(gcm(aes)) ${HEX} 128`, 'SPI: 0 is out of range', '1 to 15'],
    [`16+ rfc4106(gcm(aes)) ${HEX} 128`, 'SPI: 16 is out of range', '1 to 15'],
    [`3 gcm(aes) ${HEX} 128`, 'AEAD algorithm: gcm(aes) is not known', 'rfc4106(gcm(aes))'],
    [`3 rfc4543(gcm(aes)) ${HEX} 128`, 'authenticates only', 'rfc4106(gcm(aes))'],
    [`3 toString ${HEX} 128`, 'not known', 'rfc4106(gcm(aes))'],
    [`3 rfc4106(gcm(aes)) ${HEX.slice(2)} 128`, '19 bytes, 20 or 28 or 36 expected', '--show-key'],
    [`3 rfc4106(gcm(aes)) ${HEX.slice(1)} 128`, '39 hexadecimal digits, an even number expected', 'Two hexadecimal digits'],
    [`3 rfc4106(gcm(aes)) ${HEX}zz 128`, 'hexadecimal digits expected', 'Two hexadecimal digits'],
    [`3 rfc4106(gcm(aes)) "" 128`, 'hexadecimal digits expected', 'Two hexadecimal digits'],
    [`3 rfc4106(gcm(aes)) ${HEX} 64`, 'ICV of rfc4106(gcm(aes)): 64 bits, 96 or 128 expected', ''],
    [`3 rfc4106(gcm(aes)) ${HEX} 256`, 'ICV of rfc4106(gcm(aes)): 256 bits, 96 or 128 expected', ''],
    [`3 rfc4106(gcm(aes)) ${HEX} ${HEX}`, 'ICV: no number', '96, 128'],
    [`3 hmac(md5) ${HEX} cbc(aes) ${HEX}`, 'authentication algorithm: hmac(md5) is not known', 'hmac(sha256)'],
    [`3 digest_null "" cipher_null ""`, 'authenticates nothing', 'hmac(sha256)'],
    [`3 hmac(sha256) ${HEX} cipher_null ""`, 'encrypts nothing', 'cbc(aes)'],
    [`3 hmac(sha256) ${HEX.slice(10)} cbc(aes) ${HEX}`, 'key of hmac(sha256): 15 bytes, 16 to 64', ''],
    [`3 hmac(sha256) ${HEX.repeat(4)} cbc(aes) ${HEX}`, 'key of hmac(sha256): 80 bytes, 16 to 64', ''],
    [`3 hmac(sha256) ${HEX} cbc(aes) ${HEX}`, 'key of cbc(aes): 20 bytes, 16 or 24 or 32 expected', ''],
    [`3 rfc4106(gcm(aes)) ${HEX} 128\n\n`, 'line 2: no fields', ''],
    [`3 rfc4106(gcm(aes)) ${HEX} 128\n3 rfc4106(gcm(aes)) ${HEX} 128`, 'line 2: SPI = 3: the key before has it too', 'next SPI, 4'],
    [`3 rfc4106(gcm(aes)) ${HEX} 128\n4 rfc4106(gcm(aes)) ${HEX} 96`, 'line 2: 20 bytes and an ICV of 96 bits, the key before has', ''],
  ])('%s is refused by field, value and remedy', (line, message, hint) => {
    const told = failure(() => parseKeys(line))
    expect(told).toContain('INVALID_CONFIG keys')
    expect(told).toContain(message)
    expect(told).toContain(hint)
    expect(told).not.toContain(HEX.slice(4, 16))
  })

  it('never gets its key into a message, whatever is wrong with it', () => {
    const broken = keys.chain((key) =>
      fc.record({
        key: fc.constant(key),
        line: fc.shuffledSubarray(formatKey(key).split(' '), { minLength: 1 }).map((fields) => fields.join(' ')),
        other: fc.constantFrom('', '\n', 'x', ' 128', '\n3 x'),
      }),
    )
    fc.assert(
      fc.property(broken, ({ key, line, other }) => {
        const told = failure(() => parseKeys(`${line}${other}`))
        for (const secret of secretsOf(key)) expect(told).not.toContain(secret.slice(0, 12))
      }),
      { numRuns: 500 },
    )
    expect(failure(() => parseKey('3 swordfish-open-sesame 00 128'))).not.toContain('swordfish')
  })
})

describe('a key', () => {
  it.each(KEY_ALGORITHMS)('that is made for %s is one that is read, and never twice the same', (algorithm) => {
    const [one, other] = [generateKey({ algorithm, spi: 7 }), generateKey({ algorithm, spi: 7 })]
    expect(formatKey(parseKey(formatKey(one)))).toBe(formatKey(one))
    expect(one).toMatchObject({ spi: 7, perPair: true })
    expect(formatKey(one)).not.toBe(formatKey(other))
    const all = [...secretsOf(one), ...secretsOf(other)]
    expect(new Set(all).size).toBe(all.length)
  })

  it('has the lengths that were asked for, and an SPI in range', () => {
    expect(describeKey(generateKey())).toContain('SPI 3, a key for each pair of nodes, rfc4106(gcm(aes)) with 20 bytes')
    expect(describeKey(generateKey({ algorithm: 'gcm-256' }))).toContain('36 bytes and an ICV of 128 bits')
    expect(describeKey(generateKey({ algorithm: 'cbc-sha256' }))).toContain('cbc(aes) with 32 bytes and hmac(sha256) with 32 bytes')
    for (const spi of [0, 16, 1.5, Number.NaN]) expect(failure(() => generateKey({ spi }))).toContain('1 to 15')
  })

  it('is not shown by what prints it', () => {
    fc.assert(
      fc.property(keys, (key) => {
        const printed = [inspect(key, { depth: 9, showHidden: true }), JSON.stringify(key), describeKey(key)].join()
        expect(String(new KeyMaterial(Buffer.from(HEX, 'hex')))).toBe('(secret of 20 bytes)')
        for (const secret of secretsOf(key)) expect(printed).not.toContain(secret.slice(0, 12))
      }),
    )
  })
})

describe('a rotation', () => {
  it('changes SPI and secret, keeps all else, and is what agents take', () => {
    fc.assert(
      fc.property(keys, (key) => {
        const next = rotateKey(key)
        expect(next.spi).toBe(key.spi === 15 ? 1 : key.spi + 1)
        const rest = (one: IpsecKey): unknown => JSON.parse(JSON.stringify({ ...one, spi: 0 }))
        expect(rest(next)).toEqual(rest(key))
        for (const secret of secretsOf(next)) expect(secretsOf(key)).not.toContain(secret)
        expect(() => assertChange(key, next)).not.toThrow()
        expect(() => assertChange(key, parseKey(formatKey(key)))).not.toThrow()
      }),
    )
  })

  it('comes round after all fifteen SPIs', () => {
    let spi = 1
    const seen = Array.from({ length: 15 }, () => (spi = nextSpi(spi)))
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, index) => index + 1))
    expect(spi).toBe(1)
  })

  it('is refused with the same SPI, another SPI than the next, or other lengths', () => {
    const from = generateKey({ spi: 15 })
    expect(failure(() => assertChange(from, generateKey({ spi: 15 })))).toContain('SPI = 15: the key before has it too')
    expect(failure(() => assertChange(from, generateKey({ spi: 2 })))).toMatch(/SPI = 2 after 15.*next SPI, 1/)
    expect(failure(() => assertChange(from, generateKey({ spi: 1, algorithm: 'gcm-256' })))).toContain('36 bytes and an ICV of 128 bits')
    expect(failure(() => assertChange(from, generateKey({ spi: 1, algorithm: 'cbc-sha256' })))).toContain('Keep algorithm and lengths')
    expect(failure(() => assertChange(from, generateKey({ spi: 1 })))).toBe('no error')
  })
})
