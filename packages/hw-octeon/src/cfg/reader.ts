import { type ConfigGroup, type ConfigSetting, type ConfigValue, settingOf, type TextPosition } from './libconfig-value.ts'
import type { AgentConfigProblem } from './problem.ts'

const TEXT_START: TextPosition = { line: 1, column: 1 }

const KINDS: Readonly<Record<ConfigValue['kind'], string>> = {
  boolean: 'a boolean',
  int: 'a number',
  int64: 'a 64-bit number',
  float: 'a number with a point',
  string: 'a string',
  array: 'an array',
  list: 'a list',
  group: 'a group',
}

/** Reads the settings of one group and collects what is wrong, so that all of it is told at once. */
export class GroupReader {
  /** Where the group is: `soc.pems[0]`. */
  readonly path: string
  readonly #group: ConfigGroup
  readonly #problems: AgentConfigProblem[]
  readonly #asked = new Set<string>()

  /** Reads a group; problems are added to a list that others share. */
  constructor(group: ConfigGroup, path: string, problems: AgentConfigProblem[]) {
    this.#group = group
    this.path = path
    this.#problems = problems
  }

  /** A setting, which is known from now on; undefined where there is none. */
  setting(name: string): ConfigSetting | undefined {
    this.#asked.add(name)
    return settingOf(this.#group, name)
  }

  /** A whole number within a range; `otherwise` where there is none, or where it is wrong, which is told. */
  whole(name: string, range: readonly [number, number], otherwise: number): number {
    return (this.setting(name) === undefined ? undefined : this.#wholeIn(name, range)) ?? otherwise
  }

  /** A whole number within a range that has to be there; undefined where it is not, or wrong, which is told. */
  required(name: string, range: readonly [number, number]): number | undefined {
    if (this.setting(name) !== undefined) return this.#wholeIn(name, range)
    this.problem(name, `is missing; set it to a whole number, ${range[0]} to ${range[1]}`)
    return undefined
  }

  /** The groups of a list, each with its reader; none, and that is told, where it is something else. */
  groups(name: string): GroupReader[] {
    const setting = this.setting(name)
    if (setting === undefined) return []
    const { value } = setting
    if (value.kind !== 'list') {
      this.problem(name, `is ${KINDS[value.kind]}; a list is expected: ${name} = ( { … }, { … } );`)
      return []
    }
    return value.items.flatMap((item, index) => {
      const path = `${name}[${index}]`
      if (item.kind === 'group') return [new GroupReader(item, `${this.path}.${path}`, this.#problems)]
      this.problem(path, `is ${KINDS[item.kind]}; a group is expected: { idx = ${index}; … }`, 'error', item.at)
      return []
    })
  }

  /** Tells a problem of a setting, or of the group itself by an empty name. */
  problem(name: string, message: string, severity: AgentConfigProblem['severity'] = 'error', at?: TextPosition): void {
    const found = at ?? settingOf(this.#group, name)?.at ?? this.#group.at ?? TEXT_START
    this.#problems.push({ severity, at: found, path: [this.path, name].filter((part) => part !== '').join('.'), message })
  }

  /** Tells which settings nobody has asked for. */
  leftovers(): void {
    for (const { name } of this.#group.settings)
      if (!this.#asked.has(name)) this.problem(name, 'is no setting that the agent knows: it reads over it', 'warning')
  }

  #wholeIn(name: string, [least, most]: readonly [number, number]): number | undefined {
    const value = settingOf(this.#group, name)?.value
    if (value === undefined) return undefined
    const number = value.kind === 'int' ? value.value : value.kind === 'int64' ? Number(value.value) : undefined
    if (number !== undefined && number >= least && number <= most) return number
    const is = number === undefined ? `${KINDS[value.kind]}, which the agent does not read` : String(number)
    this.problem(name, `is ${is}; ${least} to ${most} is expected`)
    return undefined
  }
}
