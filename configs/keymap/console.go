package keymap

import "strings"

// console has kbd's keymaps, by what X calls the keyboard: layout and variant.
// Encodings (cp1251, koi8-r) make no difference on a console in UTF-8.
var console = map[string]string{
	"us": "us", "en": "us", "us1": "us", "emacs": "us", "emacs2": "us", "defkeymap": "us", "en-latin9": "us altgr-intl", "us-acentos": "us intl",
	"3l": "us 3l", "carpalx": "us carpalx", "carpalx-full": "us carpalx-full",
	"dvorak": "us dvorak", "ANSI-dvorak": "us dvorak", "dvorak-programmer": "us dvp", "dvorak-l": "us dvorak-l", "dvorak-r": "us dvorak-r",
	"dvorak-ca-fr": "ca fr-dvorak", "dvorak-de": "de dvorak", "dvorak-es": "es dvorak", "dvorak-fr": "fr dvorak", "dvorak-la": "latam dvorak",
	"dvorak-no": "no dvorak", "dvorak-ru": "ru phonetic_dvorak", "dvorak-sv-a1": "se svdvorak", "dvorak-sv-a5": "se dvorak_a5",
	"dvorak-uk": "gb dvorak", "dvorak-ukp": "gb dvorakukp", "colemak": "us colemak", "en-colemak": "us colemak",
	"mod-dh-ansi-us": "us colemak_dh", "mod-dh-iso-us": "us colemak_dh_iso", "mod-dh-iso-uk": "gb colemak_dh",
	"mod-dh-ansi-us-wide": "us colemak_dh", "mod-dh-iso-us-wide": "us colemak_dh_iso", "mod-dh-iso-uk-wide": "gb colemak_dh",
	"uk": "gb", "ie": "ie", "is-latin1": "is", "is-latin1-us": "is",

	"be-latin1": "be", "wangbe": "be wang", "wangbe2": "be wang", "azerty": "fr",
	"fr": "fr", "fr-latin1": "fr", "fr-latin9": "fr latin9", "fr-pc": "fr", "fr-old": "fr", "fr-afnor": "fr afnor",
	"fr-bepo": "fr bepo", "fr-bepo-latin9": "fr bepo_latin9", "fr_CH": "ch fr", "fr_CH-latin1": "ch fr", "sf": "ch fr",
	"nl": "nl", "nl2": "nl", "ca": "ca", "cf": "ca",

	"de": "de", "de-latin1": "de", "de-latin1-nodeadkeys": "de nodeadkeys", "de-mobii": "de", "de_alt_UTF-8": "de",
	"de_CH-latin1": "ch", "sg": "ch", "sg-latin1": "ch", "sg-latin1-lk450": "ch", "sg-mac": "ch de_mac",
	"neo": "de neo", "neoqwertz": "de neo_qwertz", "adnw": "de adnw", "bone": "de bone", "koy": "de koy",

	"dk": "dk", "dk-latin1": "dk", "no": "no", "no-latin1": "no", "mac-no": "no mac", "fi": "fi", "fi-latin1": "fi", "fi-latin9": "fi",
	"sv-latin1": "se", "se-latin1": "se", "se-fi-ir209": "se", "se-fi-lat6": "se", "se-ir209": "se", "se-lat6": "se",
	"et": "ee", "et-nodeadkeys": "ee nodeadkeys", "lv": "lv apostrophe", "lv-tilde": "lv tilde", "lt": "lt", "lt.baltic": "lt", "lt.l4": "lt",

	"es": "es", "es-cp850": "es", "la-latin1": "latam", "it": "it", "it2": "it", "it-ibm": "it",
	"pt": "pt", "pt-latin1": "pt", "pt-latin9": "pt", "br-abnt": "br", "br-abnt2": "br", "br-latin1-abnt2": "br", "br-latin1-us": "us intl",

	"pl": "pl", "pl1": "pl", "pl2": "pl", "pl3": "pl", "pl4": "pl",
	"cz": "cz", "cz-cp1250": "cz", "cz-lat2": "cz qwerty", "cz-lat2-prog": "cz prog", "cz-qwerty": "cz qwerty", "cz-us-qwertz": "cz",
	"sk-qwerty": "sk qwerty", "sk-qwertz": "sk", "sk-prog-qwerty": "sk qwerty_bksl", "sk-prog-qwertz": "sk bksl",
	"hu": "hu", "hu101": "hu 101_qwerty_comma_dead", "croat": "hr", "slovene": "si", "sr-latin": "rs latin", "sr-cy": "rs",
	"ro": "ro", "ro_std": "ro std", "ro_win": "ro winkeys", "ro-std": "ro std", "ro-cedilla": "ro", "ro-std-cedilla": "ro std",
	"trq": "tr", "trf": "tr f", "tr_q-latin5": "tr", "tr_f-latin5": "tr f", "tralt": "tr alt",

	"bg-cp1251": "bg", "bg-cp855": "bg", "bg_bds-cp1251": "bg", "bg_bds-utf8": "bg", "bg_pho-cp1251": "bg phonetic", "bg_pho-utf8": "bg phonetic",
	"by": "by", "by-cp1251": "by", "bywin-cp1251": "by", "ge": "ge", "gr": "gr", "gr-pc": "gr", "il": "il", "il-heb": "il", "il-phonetic": "il phonetic",
	"fa": "ir", "kazakh": "kz", "khmer": "kh", "kyrgyz": "kg", "ky_alt_sh-UTF-8": "kg", "mk": "mk", "mk-cp1251": "mk", "mk-utf": "mk", "mk0": "mk",
	"ru": "ru", "ru1": "ru", "ru2": "ru", "ru3": "ru", "ru4": "ru", "ru-cp1251": "ru", "ru-ms": "ru", "ru-yawerty": "ru phonetic", "ru_win": "ru",
	"ruwin_alt-CP1251": "ru", "ruwin_alt-KOI8-R": "ru", "ruwin_alt-UTF-8": "ru", "ruwin_alt_sh-UTF-8": "ru",
	"ruwin_cplk-CP1251": "ru", "ruwin_cplk-KOI8-R": "ru", "ruwin_cplk-UTF-8": "ru", "ruwin_ct_sh-CP1251": "ru", "ruwin_ct_sh-KOI8-R": "ru",
	"ruwin_ct_sh-UTF-8": "ru", "ruwin_ctrl-CP1251": "ru", "ruwin_ctrl-KOI8-R": "ru", "ruwin_ctrl-UTF-8": "ru", "bashkir": "ru bak",
	"ttwin_alt-UTF-8": "ru tt", "ttwin_cplk-UTF-8": "ru tt", "ttwin_ct_sh-UTF-8": "ru tt", "ttwin_ctrl-UTF-8": "ru tt",
	"tj_alt-UTF8": "tj", "ua": "ua", "ua-cp1251": "ua", "ua-utf": "ua", "ua-utf-ws": "ua", "ua-ws": "ua",
	"jp106": "jp", "ko": "kr",
}

// otherwise are names of the table that systemd's, Debian's or older lists have,
// and kbd has not.
var otherwise = strings.Fields("colemak cz-qwerty en-colemak fi-latin1 fi-latin9 fr-old khmer ko ro-cedilla ro-std ro-std-cedilla se-latin1 sf")
