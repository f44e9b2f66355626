import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { generateAgentConfig, parseAgentConfig } from '@cni-offload/hw-octeon'
import { exec } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const cfg = (...args: readonly string[]): ReturnType<typeof exec> =>
  exec([process.execPath, MAIN, 'octeon', 'cfg', ...args], { timeoutMs: 100_000 })

describe('offload octeon cfg', { timeout: 240_000 }, () => {
  let folder = ''
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'octeon-cfg-'))))
  afterAll(() => rm(folder, { recursive: true }))

  it('prints a configuration for a node, which it finds nothing wrong with', async () => {
    const printed = await cfg('--node', 'worker-1', '--vfs', '8', '--hb-miss-count', '15')
    expect([printed.code, printed.stderr]).toEqual([0, ''])
    expect(parseAgentConfig(printed.stdout, 'stdout')).toEqual(
      generateAgentConfig({ node: 'worker-1', vfs: 8, heartbeat: { missCount: 15 } }),
    )
    expect(printed.stdout).toContain('takes its interfaces down after 15 s.')
    const file = join(folder, 'cn106xx.cfg')
    await writeFile(file, printed.stdout)
    const checked = await cfg('--check', file)
    expect([checked.code, checked.stderr]).toEqual([0, ''])
    expect(checked.stdout).toMatch(/^pem 0 pf 0: [0-9a-f:]{17}, 8 VFs, a heartbeat each 1000 ms, 15 may be missing\n$/)
  })

  it('says where a file is wrong, and what is only doubtful', async () => {
    const file = join(folder, 'wrong.cfg')
    await writeFile(file, 'soc = { pems = ( { idx = 0; pfs = (\n  { idx = 0; mac_addr = [0,0,0,1,1]; mtu = 9; }\n); } ); };\n')
    const { code, stdout, stderr } = await cfg('--check', file)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr.split('\n').slice(1, 3)).toEqual([
      `${file}:2:14: error: soc.pems[0].pfs[0].mac_addr: has 5 bytes, 6 are expected: the agent adds zeros at the end and would take 00:00:00:01:01:00`,
      `${file}:2:38: warning: soc.pems[0].pfs[0].mtu: is no setting that the agent knows: it reads over it`,
    ])
  })

  it.each([
    [['--node', 'n', '--vfs', '65'], 'vfs = 65: 1 to 64 is expected'],
    [['--node', 'n', '--hb-interval', '999'], 'heartbeat.intervalMs = 999: 1000 to 15000 is expected'],
    [['--node', 'n', '--chip', 'CN9999'], 'CN9999'],
    [['--check', '/nonexistent/file'], '--check = /nonexistent/file: ENOENT'],
  ])('refuses %j', async (args, message) => {
    const { code, stdout, stderr } = await cfg(...args)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(message)
  })
})
