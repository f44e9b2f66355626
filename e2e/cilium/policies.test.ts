import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { LabNode } from '@cni-offload/cli'
import { TcpAnswerer, tcpProbe } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot } from '../fixture.ts'

const run = promisify(execFile)
const cli = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))
const guide = readFileSync(new URL('../../docs/guides/cilium.md', import.meta.url), 'utf8')

/** The manifests of the guide, for the namespace that pods of these tests are in. */
const manifests = (/```yaml\n# starwars\.yaml\n([^`]+)```/.exec(guide)?.[1] ?? '').replaceAll('namespace: starwars', 'namespace: e2e')

const PORTS = [80, 81]

describe.skipIf(needsRoot)('policies of a cilium-agent, on two nodes (needs root for namespaces)', () => {
  const stack = new AsyncDisposableStack()
  let e2e: E2eLab
  let file: string
  let deathstar: readonly string[]

  const cluster = async (verb: 'apply' | 'delete'): Promise<string> =>
    (await run(process.execPath, [cli, 'lab', verb, file, '--state', e2e.lab.dir], { timeout: 60_000 })).stdout

  /** Whether a pod gets an answer from the deathstar at each of its addresses; 'some' is an error of ours. */
  const lands = async (pod: string, port = 80): Promise<'yes' | 'no' | 'some'> => {
    const targets = deathstar.map((address) => ({ address, port }))
    const answered = (await tcpProbe(e2e.lab.podPath(pod), targets, 1_500)).filter((outcome) => outcome === 'answered').length
    return answered === targets.length ? 'yes' : answered > 0 ? 'some' : 'no'
  }
  const soon = (pod: string, port: number, expected: 'yes' | 'no'): Promise<void> =>
    expect.poll(() => lands(pod, port), { timeout: 60_000, interval: 100 }).toBe(expected)

  beforeAll(async () => {
    e2e = stack.use(await E2eLab.up({ nodes: 2, vfs: 2, adapter: 'cilium' }))
    file = join(e2e.lab.dir, 'starwars.yaml')
    await writeFile(file, manifests)
    const add = (node: LabNode, pod: string): Promise<Record<string, any>> => e2e.addPod(node, pod)
    deathstar = (await add(e2e.lab.node(1), 'deathstar'))['ips'].map(({ address }: { address: string }) => address.replace(/\/.*/, ''))
    await add(e2e.lab.node(1), 'xwing')
    await add(e2e.lab.node(2), 'tiefighter')
    await add(e2e.lab.node(2), 'stranger')
    stack.use(await TcpAnswerer.start(e2e.lab.podPath('deathstar'), PORTS))
  }, 120_000)
  afterAll(() => stack.disposeAsync())

  test('none: everybody reaches everybody', async () => {
    for (const pod of ['xwing', 'tiefighter', 'stranger']) await soon(pod, 80, 'yes')
    await soon('tiefighter', 81, 'yes')
  })

  test('that of the guide: by labels and ports, whatever node a pod is on', async () => {
    expect(await cluster('apply')).toContain('CiliumNetworkPolicy e2e/rule1 applied')
    await soon('xwing', 80, 'no')
    await soon('tiefighter', 80, 'yes')
    await soon('stranger', 80, 'no')
    await soon('tiefighter', 81, 'no')
  })

  test('holds while the agent is away and when it is back', async () => {
    const node = e2e.lab.node(1)
    await e2e.lab.kill(node, 'cilium')
    expect([await lands('tiefighter'), await lands('xwing'), await lands('stranger')]).toEqual(['yes', 'no', 'no'])
    await e2e.lab.start(node, 'cilium')
    await soon('tiefighter', 80, 'yes')
    expect([await lands('xwing'), await lands('stranger')]).toEqual(['no', 'no'])
  })

  test('taken back: everybody reaches everybody again', async () => {
    await cluster('delete')
    for (const pod of ['xwing', 'stranger']) await soon(pod, 80, 'yes')
    await soon('tiefighter', 81, 'yes')
  })

  test('that it cannot enforce are refused with what it can', async () => {
    await writeFile(
      file,
      manifests.replace("{ port: '80', protocol: TCP }", "{ port: '80', protocol: TCP }\n          rules: { http: [] }"),
    )
    await expect(cluster('apply')).rejects.toThrow(/rules[\s\S]*layer 7 need a real Cilium/)
  })
})
