import { OffloadError } from '@cni-offload/sdk'
import { AEAD_ALGORITHMS, AUTH_ALGORITHMS, AUTH_KEY_BYTES, CIPHER_ALGORITHMS, NOT_SECRET } from './algorithms.ts'
import { HIGHEST_SPI, type IpsecKey } from './key.ts'
import { KeyMaterial } from './key-material.ts'
import { assertReplaces } from './rotation.ts'

/** The two forms of a line, for hints. */
const FORMS = '"SPI+ rfc4106(gcm(aes)) KEY 128" or "SPI+ hmac(sha256) KEY cbc(aes) KEY"'

const NEW_KEY = 'A key that fits is printed by "offload ipsec enable --dry-run --show-key".'

const wrong = (at: string, what: string, hint: string): OffloadError => new OffloadError('INVALID_CONFIG', `${at}: ${what}`, { hint })

/** A field that is in the wrong place may be the key: only what has the form of a name is ever repeated. */
const shown = (text: string): string =>
  /^[a-z0-9_]{1,12}\([a-z0-9_(),]{1,24}\)$|^[a-z]+_null$/.test(text) ? text : '(not shown, it may be a key)'

/**
 * Reads the secret `cilium-ipsec-keys`: one key on each line, of which the last is the one in use. Takes what both Cilium and the kernel
 * take, and encrypts.
 *
 * @param text - content of `keys`
 * @param what - how it is called in messages
 * @returns at least one key
 * @throws OffloadError INVALID_CONFIG that names line, field and remedy, and never a key
 */
export function parseKeys(text: string, what = 'keys'): readonly [IpsecKey, ...IpsecKey[]] {
  const [head = '', ...rest] = text.replace(/\r?\n$/, '').split(/\r?\n/)
  const first = parseKey(head, rest.length === 0 ? what : `${what}, line 1`)
  const others: IpsecKey[] = []
  for (const [index, line] of rest.entries()) {
    const at = `${what}, line ${index + 2}`
    const key = parseKey(line, at)
    assertReplaces(others.at(-1) ?? first, key, at)
    others.push(key)
  }
  return [first, ...others]
}

/** Reads one line. @throws OffloadError INVALID_CONFIG, see {@link parseKeys} */
export function parseKey(line: string, what = 'key'): IpsecKey {
  const fields = line.trim().split(/\s+/)
  if (fields.length !== 4 && fields.length !== 5)
    throw wrong(what, `${fields[0] === '' ? 'no' : fields.length} fields, 4 or 5 are expected`, `It must be ${FORMS}.`)
  const [spiText = '', name = '', first = '', third = '', second = ''] = fields
  const number = parseSpi(spiText, what)
  if (fields.length === 4) {
    const { keyBytes, icvBits } = known(AEAD_ALGORITHMS, name, `${what}, AEAD algorithm`)
    const key = parseMaterial(first, `${what}, key of ${name}`)
    oneOf(key.length, keyBytes, 'bytes', `${what}, key of ${name}`)
    const icv = /^\d{1,4}$/.test(third) ? Number(third) : undefined
    if (icv === undefined) throw wrong(`${what}, ICV`, 'no number', `Write one of ${icvBits.join(', ')}.`)
    oneOf(icv, icvBits, 'bits', `${what}, ICV of ${name}`)
    return { kind: 'aead', ...number, algorithm: name, key, icvBits: icv }
  }
  known(AUTH_ALGORITHMS, name, `${what}, authentication algorithm`)
  const auth = { algorithm: name, key: parseMaterial(first, `${what}, key of ${name}`) }
  const [shortest, longest] = AUTH_KEY_BYTES
  if (auth.key.length < shortest || auth.key.length > longest)
    throw wrong(`${what}, key of ${name}`, `${auth.key.length} bytes, ${shortest} to ${longest} are expected`, NEW_KEY)
  const lengths = known(CIPHER_ALGORITHMS, third, `${what}, encryption algorithm`)
  const cipher = { algorithm: third, key: parseMaterial(second, `${what}, key of ${third}`) }
  oneOf(cipher.key.length, lengths, 'bytes', `${what}, key of ${third}`)
  return { kind: 'pair', ...number, auth, cipher }
}

function parseSpi(text: string, what: string): { readonly spi: number; readonly perPair: boolean } {
  const { digits, plus } = /^(?<digits>\d{1,3})(?<plus>\+)?$/.exec(text)?.groups ?? {}
  const spi = Number(digits)
  if (digits === undefined || spi < 1 || spi > HIGHEST_SPI)
    throw wrong(
      `${what}, SPI`,
      digits === undefined ? 'no number' : `${spi} is out of range`,
      `The first field is a number from 1 to ${HIGHEST_SPI}, with or without "+".`,
    )
  return { spi, perPair: plus !== undefined }
}

function known<T>(table: Readonly<Record<string, T>>, name: string, what: string): T {
  const found = Object.hasOwn(table, name) ? table[name] : undefined
  if (found !== undefined) return found
  const why = Object.hasOwn(NOT_SECRET, name) ? `${name} ${NOT_SECRET[name]}` : `${shown(name)} is not known`
  throw wrong(what, why, `Use ${Object.keys(table).join(' or ')}.`)
}

function parseMaterial(text: string, what: string): KeyMaterial {
  const digits = text.replace(/^0x/, '')
  if (!/^([0-9a-fA-F]{2})+$/.test(digits)) {
    const why =
      digits.length % 2 === 1 && /^[0-9a-fA-F]+$/.test(digits)
        ? `${digits.length} hexadecimal digits, an even number`
        : 'hexadecimal digits'
    throw wrong(what, `${why} expected`, 'Two hexadecimal digits stand for each byte; "0x" may stand before them.')
  }
  return new KeyMaterial(Buffer.from(digits, 'hex'))
}

function oneOf(value: number, allowed: readonly number[], unit: string, what: string): void {
  if (!allowed.includes(value)) throw wrong(what, `${value} ${unit}, ${allowed.join(' or ')} expected`, NEW_KEY)
}
