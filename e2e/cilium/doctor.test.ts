import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { auditDifferences, auditLab, describeDifference, type LabNode } from '@cni-offload/cli'
import { install } from '@cni-offload/host/install'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot } from '../fixture.ts'

const run = promisify(execFile)
const cli = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))

interface Result {
  readonly id: string
  readonly state: string
  readonly remedy: string
}

describe.skipIf(needsRoot)('offload doctor on a node of a lab (needs root for namespaces)', () => {
  const stack = new AsyncDisposableStack()
  let e2e: E2eLab
  const node = (): LabNode => e2e.lab.node(1)
  const installState = (): string => join(e2e.lab.dir, 'install')

  /** What the command finds that is not in order, and its exit code. */
  const doctor = async (
    side: 'host' | 'dpu',
    ...args: readonly string[]
  ): Promise<{ code: number; all: readonly Result[]; failed: string[] }> => {
    const argv = [
      `--net=${e2e.lab.netns(node(), side === 'host' ? 'host' : 'agent')}`,
      '--',
      process.execPath,
      cli,
      'doctor',
      '--side',
      side,
      '--json',
      '--timeout',
      '60',
      ...args,
    ]
    const { code = 0, stdout } = (await run('nsenter', argv, { timeout: 110_000 }).catch(
      (error: { code: number; stdout: string }) => error,
    )) as {
      code?: number
      stdout: string
    }
    const all = (JSON.parse(stdout) as { checks: Result[] }).checks
    return { code, all, failed: all.filter(({ state }) => state === 'fail').map(({ id }) => id) }
  }
  const dpu = (): ReturnType<typeof doctor> => doctor('dpu', '--config', node().agent.config, '--no-cluster')
  const host = (): ReturnType<typeof doctor> => doctor('host', '--config', node().host.config, '--install-state', installState())

  beforeAll(async () => {
    e2e = stack.use(await E2eLab.up({ nodes: 1, vfs: 2, adapter: 'cilium' }))
    const { dir } = e2e.lab
    await install({ shim: node().shim, network: 'podnet', binDir: join(dir, 'bin'), confDir: join(dir, 'net.d'), stateDir: installState() })
    await e2e.addPod(node(), 'web')
  }, 120_000)
  afterAll(() => stack.disposeAsync())

  test('finds both sides in order, and changes nothing', async () => {
    const before = await auditLab(e2e.lab, e2e.net)
    const [ofHost, ofDpu] = [await host(), await dpu()]
    expect([ofHost.failed, ofHost.code, ofDpu.failed, ofDpu.code]).toEqual([[], 0, [], 0])
    expect(ofHost.all.map(({ state }) => state)).toEqual(ofHost.all.map(() => 'ok'))
    expect(ofDpu.all.filter(({ id }) => id.startsWith('cilium.') || id.startsWith('kernel.')).length).toBeGreaterThan(10)
    expect(auditDifferences(before, await auditLab(e2e.lab, e2e.net)).map(describeDifference)).toEqual([])
  })

  test('names what has died, on the side that sees it', async () => {
    await e2e.lab.kill(node(), 'cilium')
    const ofDpu = await dpu()
    expect([ofDpu.failed, ofDpu.code]).toEqual([['cilium.socket'], 1])
    expect(ofDpu.all.find(({ id }) => id === 'cilium.socket')?.remedy).toContain('cilium-agent')
    await e2e.lab.kill(node(), 'agent')
    const ofHost = await host()
    expect([ofHost.failed, ofHost.code]).toEqual([['host.agent'], 1])
  })
})
