import { type CryptoAlgorithm, preferredAlgorithm } from '@cni-offload/linux/ipsec'

/** What ESP with AES-GCM, Cilium's default, asks the kernel for. */
export const ESP_GCM = 'rfc4106(gcm(aes))'

/** Algorithms of ESP that the look-aside driver has, by the kernel's names, each with the driver that it registers. */
export const CPT_DRIVERS: Readonly<Record<string, string>> = {
  [ESP_GCM]: 'cpt_rfc4106_gcm_aes',
  'authenc(hmac(sha1),cbc(aes))': 'cpt_hmac_sha1_cbc_aes',
  'authenc(hmac(sha256),cbc(aes))': 'cpt_hmac_sha256_cbc_aes',
  'authenc(hmac(sha384),cbc(aes))': 'cpt_hmac_sha384_cbc_aes',
  'authenc(hmac(sha512),cbc(aes))': 'cpt_hmac_sha512_cbc_aes',
}

/** Who encrypts for an algorithm. */
export interface Selection {
  /** Name of the algorithm. */
  readonly algorithm: string
  /** What a new association gets; undefined if nothing is registered that could serve one. */
  readonly preferred: CryptoAlgorithm | undefined
  /** Whether that is CPT. */
  readonly byCpt: boolean
  /** CPT's own entry, if it is registered. */
  readonly cpt: CryptoAlgorithm | undefined
  /** Associations and others that use CPT for it at the moment. */
  readonly users: number
}

const isCpt = ({ driver }: CryptoAlgorithm): boolean => /(^|[(,])cpt_/.test(driver)

/** Who encrypts for an algorithm, from the entries of `/proc/crypto`. */
export function selectionOf(algorithms: readonly CryptoAlgorithm[], algorithm: string = ESP_GCM): Selection {
  const preferred = preferredAlgorithm(algorithms, algorithm)
  const cpt = algorithms.find((one) => one.name === algorithm && isCpt(one))
  // ESP wraps what it uses into an IV generator, which is an entry of its own.
  const instances = algorithms.filter(({ name }) => ['seqiv', 'echainiv'].some((generator) => name === `${generator}(${algorithm})`))
  const users = instances.filter(isCpt).reduce((sum, one) => sum + one.users, 0)
  return { algorithm, preferred, byCpt: preferred !== undefined && isCpt(preferred), cpt, users }
}

/** Algorithms of ESP that new associations get CPT for. */
export function cptAlgorithms(algorithms: readonly CryptoAlgorithm[]): readonly string[] {
  return Object.keys(CPT_DRIVERS).filter((name) => selectionOf(algorithms, name).byCpt)
}
