/** A place in a text. Both count from 1; a column is a UTF-16 code unit, a tab is one. */
export interface TextPosition {
  /** Line. */
  readonly line: number
  /** Column. */
  readonly column: number
}

/** Where a value stands in the text that it was read from; a value that was made has none. */
interface Placed {
  /** Position of its first character. */
  readonly at?: TextPosition
}

/** A value that may be in an array. */
export type ConfigScalar =
  | (Placed & { readonly kind: 'boolean'; readonly value: boolean })
  /** 32 bits, signed. `hex`: written in base 16, where a negative one is its two's complement. */
  | (Placed & { readonly kind: 'int'; readonly value: number; readonly hex: boolean })
  /** 64 bits, signed: written with the suffix `L`, or too long for 32 bits. */
  | (Placed & { readonly kind: 'int64'; readonly value: bigint; readonly hex: boolean })
  | (Placed & { readonly kind: 'float'; readonly value: number })
  | (Placed & { readonly kind: 'string'; readonly value: string })

/** `[1, 2, 3]`: scalars of one kind. */
export type ConfigArray = Placed & { readonly kind: 'array'; readonly items: readonly ConfigScalar[] }

/** `( … )`: values of any kind. */
export type ConfigList = Placed & { readonly kind: 'list'; readonly items: readonly ConfigValue[] }

/** `name = value`. */
export interface ConfigSetting extends Placed {
  /** Name, of letters, digits, `-`, `_` and `*`; a letter or `*` first. */
  readonly name: string
  /** What it is set to. */
  readonly value: ConfigValue
}

/** `{ … }`: settings, each name once. The whole of a file is one, too. */
export type ConfigGroup = Placed & { readonly kind: 'group'; readonly settings: readonly ConfigSetting[] }

/** Any value of a libconfig file. */
export type ConfigValue = ConfigScalar | ConfigArray | ConfigList | ConfigGroup

/** What a name of a setting looks like. */
export const SETTING_NAME: RegExp = /^[A-Za-z*][-A-Za-z0-9_*]*$/

/** The value of a group's setting; undefined where it has none of that name. */
export function settingOf(group: ConfigGroup, name: string): ConfigSetting | undefined {
  return group.settings.find((setting) => setting.name === name)
}
