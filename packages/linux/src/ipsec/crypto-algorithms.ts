import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

/** An implementation of an algorithm that the kernel has: an entry of `/proc/crypto`. */
export interface CryptoAlgorithm {
  /** What it does: `rfc4106(gcm(aes))`. Several drivers may do the same. */
  readonly name: string
  /** Which implementation it is: `cpt_rfc4106_gcm_aes`. */
  readonly driver: string
  /** Module that it comes from; `kernel` if it is built in. */
  readonly module: string
  /** Of drivers that do the same, the highest is taken for a new use. */
  readonly priority: number
  /** Whether the kernel has tried it and trusts it. */
  readonly tested: boolean
  /** Whether only other drivers may use it. */
  readonly internal: boolean
  /** How many users it has at the moment, its registration not counted. */
  readonly users: number
}

const decimal = z
  .string()
  .regex(/^-?\d+$/, 'a whole number')
  .transform(Number)

const entry: z.ZodType<CryptoAlgorithm> = z
  .object({
    name: z.string().min(1),
    driver: z.string().min(1),
    module: z.string().default('kernel'),
    priority: decimal,
    refcnt: decimal,
    selftest: z.string().default('unknown'),
    internal: z.string().default('no'),
  })
  .transform(({ name, driver, module, priority, refcnt, selftest, internal }) => ({
    name,
    driver,
    module,
    priority,
    tested: selftest === 'passed',
    internal: internal === 'yes',
    users: Math.max(0, refcnt - 1),
  }))

/** Reads the text of `/proc/crypto`. @throws OffloadError UNDECODABLE that names the entry and field */
export function parseCryptoAlgorithms(text: string): CryptoAlgorithm[] {
  const blocks = text.split(/\n\s*\n/).filter((block) => block.trim() !== '')
  return blocks.map((block, index) => {
    const fields = block.split('\n').flatMap((line) => {
      const at = line.indexOf(':')
      return at < 0 ? [] : [[line.slice(0, at).trim(), line.slice(at + 1).trim()] as const]
    })
    return parseWith(entry, Object.fromEntries(fields), `/proc/crypto, entry ${index + 1}`, 'UNDECODABLE')
  })
}

/**
 * The algorithms that this kernel has at the moment. Those that are made of others by a template are missing until somebody asks for them.
 *
 * @param root - where the file system is mounted
 * @throws OffloadError IO_FAILURE if it cannot be read, UNDECODABLE if it is no such text
 */
export async function cryptoAlgorithms(root: string = '/'): Promise<CryptoAlgorithm[]> {
  const path = join(root, 'proc/crypto')
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw OffloadError.from(error, 'IO_FAILURE', `crypto algorithms ${path}`)
  })
  return parseCryptoAlgorithms(text)
}

/** The implementation that the kernel takes for a new use of an algorithm; undefined if none is there yet. */
export function preferredAlgorithm(algorithms: readonly CryptoAlgorithm[], name: string): CryptoAlgorithm | undefined {
  return algorithms
    .filter((algorithm) => algorithm.name === name && algorithm.tested && !algorithm.internal)
    .toSorted((a, b) => b.priority - a.priority)[0]
}
