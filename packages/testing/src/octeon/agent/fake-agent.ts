import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AgentFile, readAgentFile } from './agent-file.ts'
import { type AgentArguments, type AgentDevices, type AgentExit, type AgentGeneration, readArguments } from './arguments.ts'
import { CardLink } from './card-link.ts'
import { ConfigSyntaxError, parseLibconfig } from './libconfig.ts'
import { AgentOutput } from './output.ts'

/**
 * What goes wrong with a fake agent: nothing; its configuration cannot be read; vfio refuses; the PCI link stays in reset; the chip is
 * not known; it dies once it is ready; or it does not get over a reset of the PCI link and stays, for nothing.
 */
export const AGENT_MODES = ['ok', 'badcfg', 'vfio', 'noperst', 'soc', 'crash', 'zombie'] as const

/** What goes wrong with a fake agent. */
export type AgentMode = (typeof AGENT_MODES)[number]

/** How a fake agent is started. */
export interface FakeAgentOptions {
  readonly argv0: string
  readonly argv: readonly string[]
  readonly generation: AgentGeneration
  readonly mode: AgentMode
  /** Socket of the card. */
  readonly card: string | undefined
}

/** The low byte of negative error numbers, with which it ends. */
const EXIT = { invalid: 234, noDevice: 237, again: 245, noSoc: 137, pem: 255 } as const

/** Where the readiness lies that the host reads. */
const READY_ADDRESS = '0xfffe44c18418'

/** One page holds the mailbox of all functions. */
const MAILBOX_PAGES = 1

/** The control agent: reads its configuration, takes its functions, serves the host until it is told to end. */
export class FakeAgent {
  readonly #options: FakeAgentOptions
  readonly #out: AgentOutput
  #heartbeat: NodeJS.Timeout | undefined

  constructor(options: FakeAgentOptions) {
    this.#options = options
    this.#out = new AgentOutput(process.stdout.isTTY, process.env['_STDBUF_O'])
  }

  /** Runs to its end. @returns its exit code */
  async run(): Promise<number> {
    const code = await this.#live()
    this.#out.flush()
    return code
  }

  async #live(): Promise<number> {
    const { argv0, argv, generation, mode, card } = this.#options
    const args = readArguments(argv, generation)
    if (args === undefined) {
      this.#out.app(`${argv0} config_file`)
      return EXIT.invalid
    }
    const file = await this.#configuration(args)
    if (file === undefined) return EXIT.invalid
    this.#announce(args)
    if ('code' in args.devices) return this.#fail(args.devices)
    // From here on it is there to be interrupted: what comes earlier ends it as any program.
    const interrupted = once(process, 'SIGINT')
    const link = await CardLink.open(card, [argv0, ...argv])
    const failure = await this.#takeHardware(args.devices, link)
    if (failure !== undefined) return this.#fail(failure)
    for (const text of file.notes) this.#out.app(text)
    await this.#serve(file, link)
    if (mode === 'crash') process.kill(process.pid, 'SIGSEGV')
    link.onPerst((comesBack) => void this.#perst(file, link, comesBack))
    if (mode === 'zombie' && card === undefined) await this.#perst(file, link, false)
    // Its loop, of which there is nothing to be seen but that it sleeps in each turn.
    const loop = setInterval(() => {}, args.yieldMs)
    await interrupted
    clearInterval(loop)
    clearInterval(this.#heartbeat)
    this.#out.app('APP: Program quitting.')
    await this.#setReady(link, false)
    return 0
  }

  async #configuration({ config }: AgentArguments): Promise<AgentFile | undefined> {
    this.#out.app(`APP: config init : ${config}`)
    try {
      if (this.#options.mode === 'badcfg') throw new ConfigSyntaxError(1, 'syntax error')
      return readAgentFile(parseLibconfig(await readFile(config, 'utf8')))
    } catch (error) {
      // The library does not tell more of a file that cannot be read.
      const [line, text] = error instanceof ConfigSyntaxError ? [error.line, error.message] : [0, 'file I/O error']
      this.#out.app(`APP: ${config}:${line} - ${text}`)
      return undefined
    }
  }

  #announce({ yieldMs, messages, complaints }: AgentArguments): void {
    for (const text of complaints) this.#out.app(text)
    this.#out.app(`APP: cpu yield time (-y) = ${Math.floor(yieldMs / 1_000)}s ${(yieldMs % 1_000) * 1_000_000}ns`)
    this.#out.app(`APP: max control msgs/events per poll (-m) = ${messages}`)
  }

  #fail({ code, text }: AgentExit): number {
    this.#out.library(text)
    return code
  }

  async #takeHardware({ pem, dpi, sdp }: AgentDevices, link: CardLink): Promise<AgentExit | undefined> {
    const { mode, generation } = this.#options
    this.#out.library('LIB: init')
    if (mode === 'soc') return { code: EXIT.noSoc, text: 'SOC: Unable to recognise the model' }
    this.#out.library(`SOC: Model: ${link.model}`)
    this.#out.library('CNXK: init')
    const wanted: readonly (readonly [string, string])[] = [
      ...(dpi === undefined ? [] : [['DPI', dpi] as const]),
      ...sdp.map((pci) => ['SDP RVU PF', pci] as const),
      ...(pem === undefined ? [] : [['PEM', pem] as const]),
    ]
    for (const [name, pci] of wanted) {
      const failure = await this.#open(name, pci, link)
      // Newer ones do without DMA.
      if (failure !== undefined && (name !== 'DPI' || generation === 'gen1')) return failure
    }
    if (wanted.length > 0) this.#out.library('CNXK: Created VFIO container successfully; fd=3')
    if (mode === 'noperst') return { code: EXIT.again, text: 'CNXK: pem[0] unavailable' }
    if (generation === 'gen1' || generation === 'gen2') {
      if (!(await link.takePages(MAILBOX_PAGES))) return { code: EXIT.pem, text: 'CNXK: Failed to map mailbox memory' }
    }
    return undefined
  }

  async #open(name: string, pci: string, link: CardLink): Promise<AgentExit | undefined> {
    const { group, problem } = await link.openFunction(pci)
    if (group === undefined) return { code: EXIT.noDevice, text: `CNXK: Failed to find IOMMU group for ${pci}` }
    this.#out.library(`CNXK: ${name}: device = ${pci}; IOMMU group = ${group}`)
    if (problem === 'not-viable') return { code: EXIT.noDevice, text: 'CNXK: VFIO Group is not viable' }
    if (problem !== undefined || this.#options.mode === 'vfio')
      return { code: EXIT.noDevice, text: `CNXK: failed to open ${name} VFIO group at /dev/vfio/${group}` }
    return undefined
  }

  async #serve(file: AgentFile, link: CardLink): Promise<void> {
    this.#out.app('APP: Loop Init')
    if (file.config === undefined) return
    this.#out.app('APP: Loop Init PEM 0')
    this.#out.library('CNXK: pem[0] pf[0] control plane versions 10000:10000')
    this.#out.app(`APP: Heartbeat interval : ${file.config.heartbeatMs} msecs`)
    await link.serve(file.config)
    if (file.config.heartbeatMs > 0) this.#heartbeat = setInterval(() => void link.beat().catch(() => {}), file.config.heartbeatMs)
    await this.#setReady(link, true)
  }

  async #perst(file: AgentFile, link: CardLink, comesBack: boolean): Promise<void> {
    clearInterval(this.#heartbeat)
    this.#out.library('LIB: Got PERST')
    this.#out.app('APP: Event: perst on dom[0]')
    await this.#setReady(link, false)
    this.#out.app('APP: Reinitiazing PEM 0')
    if (comesBack && this.#options.mode !== 'zombie') return await this.#serve(file, link)
    this.#out.app('APP: Unable to handle perst event on PEM 0!')
    await link.stall()
  }

  async #setReady(link: CardLink, ready: boolean): Promise<void> {
    await link.setFirmwareReady(ready)
    this.#out.library(`CNXK: pem[0] pf[0] fw ready ${ready ? 1 : 0} addr ${READY_ADDRESS}`)
  }
}
