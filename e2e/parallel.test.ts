import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from './fixture.ts'

const PODS = 32

describe.skipIf(needsRoot)('many at once (needs root for namespaces)', () => {
  let e2e: E2eLab

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 1, vfs: PODS, adapter: 'hello' })
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  test(`${PODS} parallel ADDs get different addresses, MACs and VFs; ${PODS} parallel DELs leave nothing`, async () => {
    const node = e2e.lab.node(1)
    const names = Array.from({ length: PODS }, (_, i) => `p${i}`)
    const results = await Promise.all(names.map((name) => e2e.addPod(node, name)))
    const different = (values: string[]): number => new Set(values).size
    expect(different(results.flatMap((result) => result.ips.map((ip: { address: string }) => ip.address)))).toBe(2 * PODS)
    expect(different(results.map((result) => result.interfaces[0].mac))).toBe(PODS)
    expect(await e2e.held(node)).toEqual({ attachments: PODS, leases: PODS, agentAttachments: PODS, vfsAway: PODS })
    const deleted = await Promise.all(names.map((name) => e2e.call(node, 'DEL', name)))
    expect(deleted.map((outcome) => outcome.exitCode)).toEqual(names.map(() => 0))
    expect(await e2e.held(node)).toEqual(NOTHING_HELD)
    for (const name of names) await e2e.lab.deletePod(name)
  }, 120_000)

  test('the same pod added many times at once is added once', async () => {
    const node = e2e.lab.node(1)
    await e2e.lab.createPod('twin')
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => e2e.call(node, 'ADD', 'twin')))
    expect(outcomes.filter((outcome) => outcome.exitCode === 0)).toHaveLength(1)
    expect(await e2e.held(node)).toEqual({ attachments: 1, leases: 1, agentAttachments: 1, vfsAway: 1 })
    await Promise.all(Array.from({ length: 4 }, () => e2e.call(node, 'DEL', 'twin')))
    expect(await e2e.held(node)).toEqual(NOTHING_HELD)
    await e2e.lab.deletePod('twin')
  })
})
