import { readFileSync } from 'node:fs'
import { agentCommand, agentDevices, agentGeneration, octeonDpuOptions, octeonHostOptions, readInventory } from '@cni-offload/hw-octeon'
import type { LinuxNet, NetOp } from '@cni-offload/linux'
import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { Command } from 'commander'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { doctorCommand } from '../../src/commands/doctor.ts'
import { ipsecCommand } from '../../src/commands/ipsec.ts'
import { octeonCommand } from '../../src/commands/octeon.ts'
import type { OcteonSite } from '../../src/octeon/site.ts'

const guide = readFileSync(new URL('../../../../docs/guides/octeon.md', import.meta.url), 'utf8')
const blocks = (language: string): string[] =>
  [...guide.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))].map(([, body = '']) => body)
/** Commands, one a line, without what they are said to do. */
const commands = blocks('sh')
  .flatMap((block) => block.split('\n'))
  .map((line) => line.replace(/\s+#.*/, '').trim())
  .filter((line) => line.startsWith('offload '))
const inline = [...guide.matchAll(/`(offload [^`]+)`/g)].map(([, command = '']) => command)

/** A network that is as it is told to be. */
function paperNet(): ReturnType<OcteonSite['net']> {
  const up = new Set<string>()
  const addresses: string[] = []
  const apply = async (_netns: string, ops: readonly NetOp[]): Promise<void> => {
    for (const op of ops)
      if (op.op === 'link.set') up.add(op.dev)
      else if (op.op === 'addr.add') addresses.push(op.address)
  }
  const link = async (_netns: string, name: string): Promise<unknown> => ({ name, up: up.has(name) })
  return { link: link as LinuxNet['link'], addresses: async () => [...addresses], apply, [Symbol.asyncDispose]: async () => {} }
}

function program(card: FakeOcteonCard, net = paperNet()): Command {
  const site: OcteonSite = { machine: () => card.dpu, net: () => net, associations: () => [], lock: `cni-offload/guide-${process.pid}` }
  return new Command('offload').addCommand(octeonCommand(site)).addCommand(doctorCommand(card.dpu)).addCommand(ipsecCommand())
}

const exitCode = process.exitCode
afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = exitCode
})

describe('docs/guides/octeon.md', { timeout: 120_000 }, () => {
  it('has commands that do on a DPU what it says', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', agent: 'none', vfs: 2 })
    const net = paperNet()
    let said = ''
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      said += String(text)
      return true
    })
    const run = async (line: string): Promise<string> => {
      said = ''
      await program(card, net).parseAsync(line.split(/\s+/).slice(1), { from: 'user' })
      return said
    }
    expect(commands).toEqual([
      'offload octeon inventory',
      'offload octeon setup --dry-run',
      'offload octeon setup',
      'offload doctor --side dpu --hardware octeon',
    ])
    const [inventory = '', dryRun = '', setup = '', doctor = ''] = commands
    expect(await run(inventory)).toMatch(/0002:01:00\.2 .*VF 0/)
    const planned = await run(dryRun)
    expect(planned).toContain('/etc/cni-offload/cn106xx.cfg: no file →')
    expect(planned).toContain('without → 192.168.1.1/24')
    expect(await run(setup)).toBe(planned)
    expect(await run(setup)).toBe('nothing to change: everything is set up\n')
    const generation = agentGeneration(agentDevices(await readInventory(card.dpu)))
    const argv = agentCommand({ generation, cfg: '/etc/cni-offload/cn106xx.cfg' })
    const agent = card.startAgent({ pid: 2_000_000_001, argv, startTicks: 1 })
    for (const address of generation.vfio) agent.open(address)
    const found = await run(`${doctor} --no-cluster`)
    // The interface exists on paper only, and cannot be up.
    const wrong = found.split('\n').filter((line) => /^FAIL +octeon\./.test(line) && !line.includes('octeon.dpu.link'))
    expect(found).toMatch(/^ok +octeon\.dpu\.agent /m)
    expect(wrong).toEqual([])
    agent[Symbol.dispose]()
    expect(await run(`${setup} --undo`)).toContain('/etc/cni-offload/cn106xx.cfg')
  })

  it('names no command and no option that there is not', async () => {
    await using card = await FakeOcteonCard.create({ vfs: 1 })
    const root = program(card)
    expect(inline.length).toBeGreaterThan(10)
    for (const text of [...inline, ...commands]) {
      const words = text.split(/\s+/).slice(1)
      let command = root
      for (const word of words) {
        const next = command.commands.find((one) => one.name() === word)
        if (next === undefined) break
        command = next
      }
      expect(command.commands, `${text}: a command`).toEqual([])
      for (const flag of words.filter((word) => word.startsWith('--')))
        expect(
          [...command.options, ...root.options].map(({ long }) => long),
          text,
        ).toContain(flag)
    }
  })

  it('has options that the backend takes', () => {
    const schemas = { octeonDpu: octeonDpuOptions, octeonHost: octeonHostOptions }
    const configs = blocks('yaml').map((text) => parse(text) as { hardware: { export: keyof typeof schemas; options: object } })
    expect(configs.map(({ hardware }) => hardware.export)).toEqual(['octeonDpu', 'octeonHost'])
    for (const { hardware } of configs) expect(schemas[hardware.export].safeParse(hardware.options).success, hardware.export).toBe(true)
    const agents = [...guide.matchAll(/`(controlAgent: \{[^`]+\})`/g)].map(([, text = '']) => parse(text) as object)
    expect(agents).toHaveLength(2)
    for (const options of agents) expect(octeonDpuOptions.safeParse(options).error).toBeUndefined()
    expect(octeonHostOptions.safeParse(parse(/`(reloadDrivers: \w+)`/.exec(guide)?.[1] ?? 'x: 1')).success).toBe(true)
  })
})
