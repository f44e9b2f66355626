import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { type Logger, silentLogger, systemClock } from '@cni-offload/sdk'
import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { expect, it } from 'vitest'
import { type AgentConfig, formatAgentConfig, generateAgentConfig, SupervisedAgent } from '../../src/index.ts'

/** It is ready with its second function when somebody has made a file for it. */
const AGENT = `#!/bin/sh
echo 'CNXK: pem[0] pf[0] fw ready 1 addr 0x1' >&2
while [ ! -e "$(dirname "$1")/second" ]; do sleep 0.05; done
echo 'CNXK: pem[0] pf[1] fw ready 1 addr 0x2' >&2
exec sleep 60
`

it('is not ready before all functions of its configuration are', { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'octep-'))
  try {
    await using card = await FakeOcteonCard.create({ agent: 'none' })
    const { dpu } = card
    const here = localMachine()
    const machine: Machine = {
      read: (path) => (path.startsWith(folder) ? here : dpu).read(path),
      write: (path, text) => dpu.write(path, text),
      readlink: (path) => dpu.readlink(path),
      list: (path) => dpu.list(path),
      place: (path, text, mode) => dpu.place(path, text, mode),
      remove: (path) => dpu.remove(path),
      run: (argv, signal) => dpu.run(argv, signal),
    }
    // Of two cards, as no two functions may have the same addresses.
    const pfs = ['octeon0', 'octeon1'].flatMap((device) => generateAgentConfig({ node: 'n1', device, vfs: 1 }).pems[0]?.pfs ?? [])
    const two: AgentConfig = { pems: [{ pfs }] }
    const [cfg, binary] = [join(folder, 'c.cfg'), join(folder, 'octep_cp_agent')]
    await writeFile(cfg, formatAgentConfig(two))
    await writeFile(binary, AGENT, { mode: 0o755 })
    const said: string[] = []
    const log: Logger = { ...silentLogger, debug: (what: unknown) => void said.push(String((what as { line?: string }).line)) }
    await using agent = new SupervisedAgent(
      { machine, clock: systemClock, log },
      { binary, cfg, sdk: 'auto', pidFile: join(folder, 'pid') },
    )
    let ready = false
    const started = agent.start(AbortSignal.timeout(30_000)).then(() => (ready = true))
    await expect.poll(() => said.filter((line) => line.includes('pf[0] fw ready 1')), { timeout: 30_000 }).toHaveLength(1)
    expect(ready).toBe(false)
    await writeFile(join(folder, 'second'), '')
    await started
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
