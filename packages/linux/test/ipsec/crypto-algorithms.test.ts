import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CryptoAlgorithm, cryptoAlgorithms, parseCryptoAlgorithms, preferredAlgorithm } from '../../src/ipsec/index.ts'

const entry = (name: string, driver: string, priority: number, more: Readonly<Record<string, string>> = {}): string =>
  Object.entries({ name, driver, module: 'm', priority, refcnt: '1', selftest: 'passed', internal: 'no', type: 'aead', ...more })
    .map(([field, value]) => `${field.padEnd(13)}: ${value}\n`)
    .join('')
const GCM = 'rfc4106(gcm(aes))'

describe('/proc/crypto', () => {
  test('of this kernel is read', async () => {
    const algorithms = await cryptoAlgorithms()
    expect(algorithms.length).toBeGreaterThan(3)
    expect(algorithms.every(({ name, driver, users }) => name !== '' && driver !== '' && users >= 0)).toBe(true)
  })

  test('tells drivers, modules, users, and whether they are trusted', () => {
    const text = [
      entry(GCM, 'cpt_rfc4106_gcm_aes', 4001, { module: 'rvu_cptvf', refcnt: '5', async: 'yes' }),
      entry(GCM, '__internal', 1, { internal: 'yes', selftest: 'unknown' }),
    ].join('\n')
    expect(parseCryptoAlgorithms(`${text}\n\n`)).toEqual([
      { name: GCM, driver: 'cpt_rfc4106_gcm_aes', module: 'rvu_cptvf', priority: 4001, tested: true, internal: false, users: 4 },
      { name: GCM, driver: '__internal', module: 'm', priority: 1, tested: false, internal: true, users: 0 },
    ])
  })

  test('that is something else is refused by entry and field, one that is missing by path', async () => {
    expect(() => parseCryptoAlgorithms(`${entry('a', 'b', 1)}\n${entry('a', 'b', 1, { priority: 'high' })}`)).toThrow(
      expect.objectContaining({ code: 'UNDECODABLE', message: expect.stringMatching(/entry 2.*priority = "high"/) }),
    )
    expect(() => parseCryptoAlgorithms('hello')).toThrow(/name is missing/)
    const root = await mkdtemp(join(tmpdir(), 'crypto-'))
    try {
      await expect(cryptoAlgorithms(root)).rejects.toMatchObject({ code: 'IO_FAILURE', message: expect.stringContaining(root) })
      await mkdir(join(root, 'proc'))
      await writeFile(join(root, 'proc/crypto'), entry('a', 'b', 1))
      expect(await cryptoAlgorithms(root)).toHaveLength(1)
    } finally {
      await rm(root, { recursive: true })
    }
  })
})

describe('the driver that is taken', () => {
  test('is the one of that name with the highest priority, of those that are trusted and for everybody', () => {
    const one = fc.record({ name: fc.constantFrom(GCM, 'other'), priority: fc.integer(), tested: fc.boolean(), internal: fc.boolean() })
    fc.assert(
      fc.property(fc.array(one), (some) => {
        const all: CryptoAlgorithm[] = some.map((algorithm, index) => ({ ...algorithm, driver: `d${index}`, module: 'm', users: 0 }))
        const usable = all.filter(({ name, tested, internal }) => name === GCM && tested && !internal)
        const taken = preferredAlgorithm(all, GCM)
        expect(taken === undefined).toBe(usable.length === 0)
        if (taken !== undefined) expect(usable.every(({ priority }) => priority <= taken.priority) && usable.includes(taken)).toBe(true)
      }),
    )
  })
})
