/** An implementation of an algorithm, as `/proc/crypto` shows it. */
export interface CryptoStanza {
  readonly name: string
  readonly driver: string
  readonly module: string
  readonly priority: number
  readonly type: 'aead' | 'skcipher'
  readonly async: boolean
}

const software = (name: string, driver: string, module: string, priority: number, type: CryptoStanza['type']): CryptoStanza => ({
  name,
  driver,
  module,
  priority,
  type,
  async: false,
})

/** What the kernel of the DPU has without the crypto engine. */
export const SOFTWARE_CRYPTO: readonly CryptoStanza[] = [
  software('rfc4106(gcm(aes))', 'rfc4106-gcm-aes-ce', 'aes_ce_gcm', 300, 'aead'),
  software('gcm(aes)', 'gcm-aes-ce', 'aes_ce_gcm', 300, 'aead'),
  software('cbc(aes)', 'cbc-aes-ce', 'aes_ce_blk', 300, 'skcipher'),
  software('ecb(aes)', 'ecb-aes-ce', 'aes_ce_blk', 300, 'skcipher'),
  software('xts(aes)', 'xts-aes-ce', 'aes_ce_blk', 300, 'skcipher'),
]

const hardware = (name: string, driver: string, type: CryptoStanza['type']): CryptoStanza => ({
  name,
  driver,
  module: 'rvu_cptvf',
  priority: 4_001,
  type,
  async: true,
})

const DIGESTS = ['sha1', 'sha256', 'sha384', 'sha512'] as const

/** What the crypto engine's driver registers with its first virtual function. */
export const CPT_CRYPTO: readonly CryptoStanza[] = [
  hardware('xts(aes)', 'cpt_xts_aes', 'skcipher'),
  hardware('cbc(aes)', 'cpt_cbc_aes', 'skcipher'),
  hardware('ecb(aes)', 'cpt_ecb_aes', 'skcipher'),
  hardware('cbc(des3_ede)', 'cpt_cbc_des3_ede', 'skcipher'),
  hardware('ecb(des3_ede)', 'cpt_ecb_des3_ede', 'skcipher'),
  ...DIGESTS.map((digest) => hardware(`authenc(hmac(${digest}),cbc(aes))`, `cpt_hmac_${digest}_cbc_aes`, 'aead')),
  ...DIGESTS.map((digest) => hardware(`authenc(hmac(${digest}),ecb(cipher_null))`, `cpt_hmac_${digest}_ecb_null`, 'aead')),
  hardware('rfc4106(gcm(aes))', 'cpt_rfc4106_gcm_aes', 'aead'),
]

/** Algorithms that associations of IPsec use wrapped into one that makes their initialization vectors, an entry of its own. */
const WRAPPED = /^rfc4106\(/

/** The text of `/proc/crypto`, what was registered last first. @param users - of a driver, its registration not counted */
export function formatCrypto(stanzas: readonly CryptoStanza[], users: ReadonlyMap<string, number>): string {
  const usersOf = ({ driver }: CryptoStanza): number => users.get(driver) ?? 0
  const wrappers = stanzas
    .filter((stanza) => WRAPPED.test(stanza.name) && usersOf(stanza) > 0)
    .map((stanza) => ({ stanza: { ...stanza, name: `seqiv(${stanza.name})`, driver: `seqiv(${stanza.driver})` }, users: usersOf(stanza) }))
  const own = stanzas.map((stanza) => ({ stanza, users: usersOf(stanza) }))
  return [...wrappers, ...own].map(({ stanza, users: count }) => format(stanza, 1 + count)).join('\n')
}

function format({ name, driver, module, priority, type, async }: CryptoStanza, refcnt: number): string {
  const blocks = name.includes('cbc') || name.includes('ecb') || name.includes('xts') ? 16 : 1
  const head = { name, driver, module, priority, refcnt, selftest: 'passed', internal: 'no', type, async: async ? 'yes' : 'no' }
  const size = { blocksize: blocks, ivsize: name.includes('gcm') ? 8 : 16 }
  const tail = type === 'aead' ? { maxauthsize: 16, geniv: '<none>' } : { 'min keysize': 16, 'max keysize': 32 }
  return Object.entries({ ...head, ...size, ...tail })
    .map(([field, value]) => `${field.padEnd(12)} : ${value}\n`)
    .join('')
}
