import { readdir, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { askHost } from '@cni-offload/cli'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needsRoot, NOTHING_HELD } from '../fixture.ts'
import { CrashLab } from './crash-lab.ts'

describe.skipIf(needsRoot)('the host daemon dies while it rebuilds what it has lost (needs root for namespaces)', () => {
  let lab: CrashLab

  beforeAll(async () => {
    lab = await CrashLab.up({ adapter: 'hello' })
    await lab.baseline([{}])
  }, 300_000)
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  const start = (role: 'host' | 'agent'): Promise<void> => lab.e2e.lab.start(lab.node, role)

  const loseJournal = async (): Promise<void> => {
    await lab.e2e.lab.kill(lab.node, 'host', 'SIGTERM')
    await writeFile(lab.node.host.journal, 'nothing that could be read'.repeat(1000))
  }

  /** All is as before, but for the journal that was set aside once. */
  const settled = async (): Promise<void> => {
    const { journal } = lab.node.host
    const aside = (await readdir(dirname(journal))).filter((name) => name.startsWith(`${basename(journal)}.unreadable-`))
    expect(aside).toHaveLength(1)
    for (const name of aside) await rm(join(dirname(journal), name))
    await lab.settled()
  }

  /** Starts the host daemon, which dies at a step: before it serves, or after. */
  const dies = async (step: string): Promise<void> => {
    lab.arm(step)
    const started = start('host').catch(() => {})
    await lab.died(step)
    await started
  }

  test('at host.recover.withheld, adopted and rebuilt, one after the other', async () => {
    await loseJournal()
    await dies('host.recover.withheld')
    await dies('host.recover.adopted')
    await dies('host.recover.rebuilt')
    await start('host')
    await settled()
  }, 300_000)

  test('at host.recover.readmitted, of a VF that came home when nobody knew whose it was', async () => {
    const pod = await lab.pod()
    await lab.succeed('ADD', pod)
    const { attachments } = await askHost(lab.node.socket)
    const vf = attachments.find(({ key }) => key.containerId === pod)?.vf ?? expect.fail(`${pod} has no VF`)
    await lab.e2e.lab.kill(lab.node, 'agent')
    await loseJournal()
    await start('host')
    await lab.e2e.lab.kill(lab.node, 'host')
    const home = { op: 'link.move', dev: 'eth0', netns: lab.e2e.lab.netns(lab.node, 'host'), name: vf.replace('/', 'v') } as const
    await lab.e2e.net.apply(lab.e2e.lab.podPath(pod), [home])
    await dies('host.recover.readmitted')
    await start('host')
    await start('agent')
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.deletePod(pod)
    await settled()
  }, 300_000)

  test('at host.recover.reclaimed, after somebody has removed the journal: all VFs come home', async () => {
    await lab.e2e.lab.kill(lab.node, 'host')
    for (const end of ['', '-wal', '-shm']) await rm(`${lab.node.host.journal}${end}`, { force: true })
    await dies('host.recover.reclaimed')
    await start('host')
    await expect.poll(() => lab.e2e.held(lab.node), { timeout: 60_000, interval: 100 }).toEqual(NOTHING_HELD)
    for (const pod of [await lab.pod(), await lab.pod(), await lab.pod(), await lab.pod()]) await lab.succeed('ADD', pod)
  }, 300_000)
})
