import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { labNamespaces } from '@cni-offload/cli'
import { uniqueName } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { needsRoot } from './fixture.ts'

const run = promisify(execFile)
const cli = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))

// As users have it: from the sources, not from the bundle that other tests load what they start from.
delete process.env['NODE_OPTIONS']

describe.skipIf(needsRoot)('offload lab (needs root for namespaces)', () => {
  const prefix = uniqueName('lt')
  let dir: string
  const lab = async (...args: string[]): Promise<string> =>
    (await run(process.execPath, [cli, 'lab', ...args, '--state', join(dir, 'lab')], { timeout: 90_000 })).stdout

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cni-offload-lab-test-'))
  })

  afterEach(async () => {
    await lab('down')
    await rm(dir, { recursive: true, force: true })
    expect(await labNamespaces(prefix)).toEqual([])
  })

  test('up, status, inspect, kill, start, down', async () => {
    const { nodes } = JSON.parse(
      await lab('up', '--nodes', '1', '--vfs', '2', '--pool', '5', '--network', 'net1=hello:soft0/1', '--prefix', prefix, '--json'),
    )
    expect(nodes).toHaveLength(1)
    for (const field of ['shim', 'netconf', 'env', 'hostNetns', 'dpuNetns', 'socket', 'agentAddress', 'journals', 'pids', 'metrics'])
      expect(nodes[0]).toHaveProperty(field)
    expect(JSON.parse(readFileSync(nodes[0].netconfs.net1, 'utf8'))).toMatchObject({ name: 'net1', type: 'offload-cni' })
    await expect(lab('up', '--network', 'net1=unknown')).rejects.toThrow(/NAME=ADAPTER is expected/)
    const { journals } = nodes[0] as { journals: { host: string; agent: string } }
    expect([journals.host, journals.agent].filter((file) => !existsSync(file))).toEqual([])
    await expect(lab('up', '--prefix', prefix)).rejects.toThrow(/lab already/)
    expect(JSON.parse(await lab('status', '--json')).map((row: { running: boolean }) => row.running)).toEqual([true, true])
    const inspected = JSON.parse(await lab('inspect', '--json'))
    expect(inspected.nodes[0].host.leases).toHaveLength(2)
    expect(inspected.nodes[0].agent.attachments).toEqual([])
    expect(inspected.nodes[0].ports).toHaveLength(2)
    await lab('kill', 'agent', '--node', '1')
    await expect(lab('status')).rejects.toThrow()
    await lab('start', 'agent')
    expect(JSON.parse(await lab('status', '--json')).map((row: { running: boolean }) => row.running)).toEqual([true, true])
    const { stdout } = await run('nsenter', [
      `--net=/run/netns/${nodes[0].hostNetns}`,
      process.execPath,
      '-e',
      `fetch('${nodes[0].metrics.host}').then(r => r.text()).then(t => console.log(t))`,
    ])
    expect(stdout).toMatch(/^cni_offload_/m)
  }, 120_000)
})
